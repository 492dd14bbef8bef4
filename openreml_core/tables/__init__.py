"""Tables: reading files, guessing what their columns are, saying what design they show; the sample studies.

A table becomes a study in a few steps::

    table = read_table("trial.csv")       # csv, tsv, txt, xlsx, parquet
    roles = guess_roles(table)            # response, factors, covariates, positions, identifiers; to be corrected
    describe_design(table, roles)         # what is crossed with what, nested in what, and what is missing
    suggest_formula(table, roles)         # a first model
    data = apply_roles(table, roles)      # categories and float64, ready to be fitted
"""

from openreml_core.tables.columns import describe_columns
from openreml_core.tables.description import describe_design
from openreml_core.tables.exclusion import Excluded, exclusion_words, exclusions, left_in, plain_label
from openreml_core.tables.guessing import guess_roles
from openreml_core.tables.proposal import suggest_formula
from openreml_core.tables.reading import read_table, sheet_names
from openreml_core.tables.roles import Role, apply_roles
from openreml_core.tables.samples import Sample, load_sample, sample_data
from openreml_core.tables.source import MAX_BYTES

__all__ = [
    "MAX_BYTES",
    "Excluded",
    "Role",
    "Sample",
    "apply_roles",
    "describe_columns",
    "describe_design",
    "exclusion_words",
    "exclusions",
    "guess_roles",
    "left_in",
    "load_sample",
    "plain_label",
    "read_table",
    "sample_data",
    "sheet_names",
    "suggest_formula",
]
