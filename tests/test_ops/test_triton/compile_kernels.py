"""Compile kernels for compute capability 9.0, where there may be no GPU, and print what came out as JSON.

usage: python compile_kernels.py KERNEL:DTYPE:HEAD_DIM:HEADS ...
"""

import json
import sys

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from saga_mm.ops.triton import launch, read, tiles, write

KERNELS = {
    'write': write.write_kernel,
    'write_backward': write.write_backward_kernel,
    'read': read.read_kernel,
    'read_backward': read.read_backward_kernel,
}
TYPES = {'float32': '*fp32', 'bfloat16': '*bf16', 'float16': '*fp16'}
TOKENS = ('k', 'v', 'a', 'b', 'dk', 'dv', 'da', 'db', 'q', 'out', 'dout', 'dq')
STATES = ('kv', 'key', 'dkv', 'dkey', 'kv_parts', 'key_parts')
# neither a pointer nor a stride
COUNTS = ('tokens', 'chunk', 'pairs', 'heads', 'splits')


def compiled(name: str, dtype: str, head_dim: int, heads: int) -> dict:
    if name == 'add_splits':
        return build(launch.add_splits, {'ITEMS': 32, 'LANES': 128}, 'float32', warps=4)
    kernel = KERNELS[name]
    x = torch.empty(1, 4096, 1, head_dim, dtype=getattr(torch, dtype), device='meta')
    _, constants = launch.plan(name, x, (head_dim, head_dim))
    warps = constants.pop('num_warps')
    gate = tiles.GATES['sigmoid']
    constants |= {'MAP': tiles.MAPS['relu'], 'DOT': constants['OPERAND'], 'KEY_GATE': gate, 'VALUE_GATE': gate}
    constants |= {'GATED_KEY': False, 'NORMALIZED': True, 'LIMIT': 65504.0 if dtype == 'float16' else 0.0}
    if heads == 1:
        # Triton makes constants of arguments that are 1
        constants |= {'heads': 1, 'pairs': 1}
    return build(kernel, {key: value for key, value in constants.items() if key in kernel.arg_names}, dtype, warps)


def build(kernel: triton.JITFunction, constants: dict, dtype: str, warps: int) -> dict:
    signature = {arg: _kind(arg, TYPES[dtype], constants) for arg in kernel.arg_names}
    aligned = [
        (place,)
        for place, (arg, kind) in enumerate(signature.items())
        if kind not in ('constexpr', 'fp32') and arg not in COUNTS
    ]
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(kernel.arg_names.index(arg),): value for arg, value in constants.items()},
        attrs={place: [['tt.divisibility', 16]] for place in aligned},
    )
    built = triton.compile(source, target=GPUTarget('cuda', 90, 32), options={'num_warps': warps})
    ptx = built.asm['ptx']
    return {
        'binary_bytes': len(built.asm['cubin']),
        'shared_bytes': built.metadata.shared,
        'products': ptx.count('wgmma.mma_async') + ptx.count('mma.sync'),
    }


def _kind(arg: str, tokens: str, constants: dict) -> str:
    if arg in constants:
        return 'constexpr'
    if arg in TOKENS:
        return tokens
    if arg in STATES:
        return '*fp32'
    if arg in ('scale', 'eps'):
        return 'fp32'
    return 'i64' if arg.endswith('_image') else 'i32'


if __name__ == '__main__':
    specs = [spec.split(':') for spec in sys.argv[1:]]
    print(json.dumps([compiled(name, dtype, *map(int, sizes)) for name, dtype, *sizes in specs]))
