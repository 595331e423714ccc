"""An interpreter for the pickles in checkpoints that calls only functions of this package.

Python's unpicklers call what a file names, and torch's ``weights_only`` one what a list of names allows. That list is
not enough: with it a file can replace the methods of a dict, have numpy read objects at addresses of the file's choice,
and take any amount of memory and time. Here a name stands for one of a few functions of ours, each of which checks its
arguments, and what comes out is plain: dicts, lists, tuples, texts, numbers, tensors, arrays and mmengine's logs.
"""

from __future__ import annotations

import pickletools
import re
from collections import Counter, OrderedDict
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch
from torch import Tensor

from saga_mm.loading.plain_values import (
    FUNCTIONS,
    Name,
    NumberKind,
    StorageKind,
    TensorStorage,
    Unfinished,
    exactly,
    module_versions,
    plain_key,
)

STORAGES = {
    **{'Float': torch.float32, 'Double': torch.float64, 'Half': torch.float16, 'BFloat16': torch.bfloat16},
    **{'Long': torch.int64, 'Int': torch.int32, 'Short': torch.int16, 'Char': torch.int8, 'Byte': torch.uint8},
    **{'Bool': torch.bool, 'ComplexFloat': torch.complex64, 'ComplexDouble': torch.complex128},
}
# names of Python 2
OLD_MODULES = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}
VALUES = (
    *('BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT'),
    *('BINUNICODE', 'SHORT_BINUNICODE', 'BINBYTES', 'SHORT_BINBYTES', 'BINSTRING', 'SHORT_BINSTRING'),
)
CONSTANTS: dict[str, Callable[[], Any]] = {
    'NONE': lambda: None,
    'NEWTRUE': lambda: True,
    'NEWFALSE': lambda: False,
    'EMPTY_TUPLE': tuple,
    'EMPTY_LIST': list,
    'EMPTY_DICT': dict,
}
TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}
DTYPES = {str(thing): thing for thing in vars(torch).values() if isinstance(thing, torch.dtype)}
# how deeply what is read may be nested, and how much it may hold where all that is shared counts each time
DEEPEST, MOST_PARTS = 100, 10_000_000
# of a pickle; those of detectors have some 10,000
MOST_CODES = 1_000_000
# bytes that calls may make beside four times as many as the file has: arrays are made of bytes, which are made of texts
SMALL = 2**20


def read_pickle(file: BinaryIO, size: int, load_storage: Callable[[tuple], Tensor]) -> Any:
    """Read one pickle, and leave the file behind it.

    Args:
        file: Open at the pickle.
        size: Bytes of the whole file, which bound what is made of it.
        load_storage: Gives the numbers of a storage, flat, by its persistent id.

    Raises:
        UnpicklingError: The pickle names something that a checkpoint does not need; its message begins with ``GLOBAL``
            and the name. Or it is none that ``torch.save`` writes.
    """
    try:
        read = _Interpreter(size, load_storage).run(file)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
        # their texts may hold anything of the file
        raise UnpicklingError(f'no pickle of torch.save, {type(error).__name__}') from error
    _require_tree(read)
    return read


class _Interpreter:
    def __init__(self, size: int, load_storage: Callable[[tuple], Tensor]) -> None:
        self.left, self.load_storage = 4 * size + SMALL, load_storage
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: BinaryIO) -> Any:
        # genops reads codes without doing what they say; what is done is below, and no more
        for number, (code, argument, _) in enumerate(pickletools.genops(file)):
            if number > MOST_CODES:
                raise UnpicklingError(f'more than {MOST_CODES:,} codes')
            self._do(code.name, argument)
        return self.stack.pop()

    def _do(self, code: str, argument: Any) -> None:
        stack = self.stack
        if code in VALUES:
            stack.append(argument)
        elif code in CONSTANTS:
            stack.append(CONSTANTS[code]())
        elif code in ('BINPUT', 'LONG_BINPUT'):
            self.memo[argument] = stack[-1]
            if isinstance(stack[-1], Unfinished):
                stack[-1].places.add(argument)
        elif code in ('BINGET', 'LONG_BINGET'):
            stack.append(self.memo[argument])
        elif code == 'MARK':
            self.marks.append(len(stack))
        elif code == 'TUPLE' or code in TUPLES:
            stack.append(tuple(self._pop(TUPLES.get(code))))
        elif code in ('APPEND', 'APPENDS'):
            items = self._pop(1 if code == 'APPEND' else None)
            exactly(stack[-1], list).extend(items)
        elif code in ('SETITEM', 'SETITEMS'):
            items = self._pop(2 if code == 'SETITEM' else None)
            target = exactly(stack[-1], dict, OrderedDict, Counter)
            for key, value in zip(items[::2], items[1::2], strict=True):
                # hashes of nested tuples may take for ever, and those of chosen numbers may all be the same
                target[plain_key(key)] = value
        elif code == 'GLOBAL':
            stack.append(self._find(argument))
        elif code == 'BINPERSID':
            stack.append(TensorStorage(self.load_storage(exactly(stack.pop(), tuple))))
        elif code in ('REDUCE', 'NEWOBJ'):
            function, arguments = self._pop(2)
            stack.append(FUNCTIONS[exactly(function, Name).name](self, *exactly(arguments, tuple)))
        elif code == 'BUILD':
            thing, state = self._pop(2)
            stack.append(self._build(thing, state))
        elif code not in ('PROTO', 'STOP'):
            raise UnpicklingError(f'{code} is no code of torch.save')

    def _pop(self, count: int | None) -> list[Any]:
        """The last ``count`` things on the stack, or all since the last mark."""
        start = self.marks.pop() if count is None else len(self.stack) - count
        if not (self.marks[-1] if self.marks else 0) <= start <= len(self.stack):
            raise UnpicklingError('a stack without the things that are taken from it')
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _find(self, argument: str) -> Any:
        module, _, name = argument.partition(' ')
        named = f'{OLD_MODULES.get(module, module)}.{name}'
        storage = re.fullmatch(r'torch\.(\w+)Storage', named)
        if storage and storage[1] in STORAGES:
            return StorageKind(STORAGES[storage[1]])
        if named in DTYPES:
            return DTYPES[named]
        if named in FUNCTIONS:
            return Name(named)
        # nothing is imported, not even to find out what it is
        raise UnpicklingError(f'GLOBAL {named}')

    def _build(self, thing: Any, state: Any) -> Any:
        """Give a state to what was just made; arrays are only made now."""
        if isinstance(thing, Unfinished):
            built = thing.build(self, state)
            self.memo.update(dict.fromkeys(thing.places, built))
            thing.places.clear()
            return built
        if type(thing) is OrderedDict:
            # attributes of a dict could be methods of it; a state dict has the versions of its modules
            if '_metadata' in exactly(state, dict):
                thing._metadata = module_versions(state['_metadata'])
        elif isinstance(thing, NumberKind):
            thing.set_order(state)
        else:
            raise UnpicklingError(f'a state of a {type(thing).__name__}')
        return thing

    def spend(self, count: int) -> None:
        """Count what a call makes; a file could have the same thing made again and again."""
        self.left -= count
        if self.left < 0:
            raise UnpicklingError('it makes more than it holds')


# of the interpreter, and no values
INNER = (Name, StorageKind, TensorStorage, NumberKind, Unfinished)


def _require_tree(root: Any) -> None:
    """Refuse what holds itself, is nested too deeply, or unfolds to far more than it is."""
    sizes: dict[int, int] = {}
    path: set[int] = set()
    # a stack of our own: a file may be nested more deeply than Python calls
    left: list[tuple[Any, bool]] = [(root, False)]
    while left:
        value, done = left.pop()
        if id(value) in sizes:
            continue
        if isinstance(value, INNER):
            raise UnpicklingError(f'a {type(value).__name__} as a value')
        inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
        if done:
            path.discard(id(value))
            sizes[id(value)] = 1 + sum(sizes.get(id(part), 1) for part in inner)
            if sizes[id(value)] > MOST_PARTS:
                raise UnpicklingError('it unfolds to far more than it is')
        elif isinstance(value, (dict, list, tuple)):
            if id(value) in path or len(path) >= DEEPEST:
                raise UnpicklingError('it holds itself, or is nested too deeply')
            path.add(id(value))
            left.append((value, True))
            left += [(part, False) for part in inner if isinstance(part, (dict, list, tuple, *INNER))]
