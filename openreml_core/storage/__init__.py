"""A fit as one file: a zip of JSON and Parquet. Nothing in it is executable, nothing is unpickled.

fit.json                       version, specification, estimates, trace
rows.parquet                   the rows that were used, the columns that the model names
relationship0.parquet          a known relationship matrix: labels, then the columns of the matrix where it is written out
relationship0_inverse.parquet  its inverse where that is sparse: row, column, value
products.parquet               of a fit whose rows stayed in files: the cross-products; rows.parquet is an example of a few rows
levels0.parquet                and the combinations of levels of a grouping by several columns
"""

from openreml_core.storage.archive import SavedFit, read, write
from openreml_core.storage.record import OWN_OFFSET, OWN_WEIGHTS

__all__ = ["OWN_OFFSET", "OWN_WEIGHTS", "SavedFit", "read", "write"]
