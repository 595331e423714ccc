"""``load_folder.py FOLDER``: load a model by Python, and print a number that all of its weights make."""

import sys

import torch

import saga_mm
from saga_mm.cli.run import run_tool


def main() -> None:
    """Load what the command line names."""
    model = saga_mm.load(sys.argv[1])
    print(torch.cat([value.double().flatten() for value in model.state_dict().values()]).sum().item())


if __name__ == '__main__':
    run_tool(main)
