"""The version of the installed package."""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["VERSION"]

try:
    VERSION = version("finer-rewards")
except PackageNotFoundError:  # a source tree that was not installed
    VERSION = "0+unknown"
