"""The words by which people call the columns of their tables, and what such a column is likely to be.

English first; German, French, Spanish and Portuguese where the word is common in trial books.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum


class Kind(StrEnum):
    """What a column's name says that it is."""

    RESPONSE = "response"
    MEASURE = "measure"
    REPLICATE = "replicate"
    BLOCK = "block"
    GENOTYPE = "genotype"
    ENVIRONMENT = "environment"
    UNIT = "unit"
    TREATMENT = "treatment"
    AMOUNT = "amount"
    TIME = "time"
    ROW = "row"
    COLUMN = "column"
    PLOT = "plot"
    LABEL = "label"
    WEIGHT = "weight"


_WORDS: dict[Kind, str] = {
    Kind.RESPONSE: """
        yield yld yields y response resp reaction outcome ertrag rendement rendimiento rendimento
        produtividade
    """,
    Kind.MEASURE: """
        weight height length diameter distance angle strength score mass biomass size width area speed
        pressure protein moisture gain bodyweight gewicht hohe poids hauteur peso altura value measurement
    """,
    Kind.REPLICATE: """
        rep reps replicate replication replicates superblock wiederholung wdh repetition repeticion
        repeticao
    """,
    Kind.BLOCK: "block blk blocks iblock incblock subblock bloc bloque bloco wholeplot mainplot strip",
    Kind.GENOTYPE: """
        gen geno genotype genotypes variety varieties cultivar cv entry line hybrid clone accession
        germplasm gid sorte variete variedad variedade genotyp genotipo
    """,
    Kind.ENVIRONMENT: """
        env environment loc location site county trial year season region province state town field
        experiment exp standort jahr lieu annee ano sitio localidad dept department
    """,
    Kind.UNIT: """
        subject subjects subj animal pig rat mouse mare cow bull horse dog sheep patient person child
        participant worker operator technician judge rater assessor panelist student teacher lecturer pupil
        litter herd flock pen cage tank batch lot cask sample plate dish tray pot tree plant leaf fruit
        family sire dam male female father mother parent school class classroom hospital clinic centre
        center farm farmer village household company lab laboratory instrument
    """,
    Kind.TREATMENT: """
        treatment trt treat trat recipe diet sex gender group machine method arm condition fert fertilizer
        fertiliser fungicide fung herbicide soil irrigation irrig water drug product tillage management
        behandlung traitement tratamiento tratamento breed
    """,
    Kind.AMOUNT: """
        dose dosis rate nitro nitrogen n level temp temperature conc concentration density amount potassium
        phosphorus salinity menge duenger
    """,
    Kind.TIME: """
        time day days date age week weeks month months hour hours minute minutes min sec second seconds
        visit occasion dap das dae zeit tag tage alter woche jour temps dia tiempo tempo wave session
    """,
    Kind.ROW: "row rows rownum rowno latitude lat northing zeile ligne fila linha",
    Kind.COLUMN: """
        col cols column columns colnum colno range bed longitude lon long lng easting spalte colonne columna
        coluna
    """,
    Kind.PLOT: "plot plots plotid plotno plotnumber parcel parzelle parcelle parcela",
    Kind.LABEL: """
        id ids uid uuid index obs observation no nr number barcode code name label key row_name unit units
        note notes comment comments remark remarks bemerkung
    """,
    Kind.WEIGHT: "w wt wts weights wgt",
}

_KIND_OF: dict[str, Kind] = {word: kind for kind, words in _WORDS.items() for word in words.split()}

#: Kinds whose columns are factors, whether coded in text or in numbers.
FACTOR_KINDS = frozenset({Kind.REPLICATE, Kind.BLOCK, Kind.GENOTYPE, Kind.ENVIRONMENT, Kind.UNIT, Kind.TREATMENT})


def words_of(name: str) -> list[str]:
    """Split a column's name into words, in lower case and without accents, numbers at the end left out.

    >>> words_of("PlotYield (t/ha)"), words_of("Höhe_2"), words_of("REP")
    (['plot', 'yield', 't', 'ha'], ['hohe'], ['rep'])
    """
    plain = unicodedata.normalize("NFKD", name)
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    plain = re.sub(r"([a-z])([A-Z])", r"\1 \2", plain)
    return [word for word in re.split(r"[^a-z]+", plain.lower()) if word]


def kind_of_name(name: str) -> Kind | None:
    """Return what a column's name says that it is, or None.

    Of several known words a response wins; else the last that is no mere label, as in "plant height" and "block id". Words
    in brackets are units and not asked, nor is what follows an "of".

    >>> [str(kind_of_name(name)) for name in ("plot yield (t/ha)", "plant height", "Block id", "weight of sample", "hue")]
    ['response', 'measure', 'block', 'measure', 'None']
    """
    words = words_of(re.split(r"[(\[]", name, maxsplit=1)[0])
    if "of" in words[1:]:
        words = words[: words.index("of", 1)]
    whole = _KIND_OF.get("".join(words))
    if whole is not None:
        return whole
    kinds = [_KIND_OF[word] for word in words if word in _KIND_OF and len(word) > 1]
    if Kind.RESPONSE in kinds:
        return Kind.RESPONSE
    return next((kind for kind in reversed(kinds) if kind is not Kind.LABEL), kinds[-1] if kinds else None)
