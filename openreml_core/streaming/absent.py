"""What stands where a fit keeps its rows, when the rows stayed in the files."""

from __future__ import annotations

from typing import Any, NoReturn

from openreml_core.errors import ModelError


class RowsElsewhere:
    """In the place of an array of rows: whatever is asked of it is answered by where the rows are.

    Parameters
    ----------
    where : str
        ``"the files part-*.parquet"``.
    """

    def __init__(self, where: str) -> None:
        self.where = where

    def refuse(self, *_: Any, **__: Any) -> NoReturn:
        """Raise the error that says where the rows are."""
        raise ModelError(
            f"This needs the rows that the model was fitted to, which stayed in {self.where}.",
            hint="Read those of interest with reml.read_table, or fit the table itself.",
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # Python asks for these by itself, as when it pickles
            raise AttributeError(name)
        self.refuse()

    def __repr__(self) -> str:
        return f"<rows in {self.where}>"

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> NoReturn:
        found = next((a for a in (*args, *(kwargs or {}).values()) if isinstance(a, cls)), cls("the files"))
        found.refuse()

    __len__ = __iter__ = __getitem__ = __array__ = __float__ = __bool__ = refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __matmul__ = __rmatmul__ = __truediv__ = refuse
