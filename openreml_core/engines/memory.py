"""How much memory matrices may take."""

from __future__ import annotations

import os

#: Share of the free memory that an engine may take.
SHARE = 0.8


def available_bytes() -> int:
    """Free memory of this machine; 8 GiB where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 8 * 2**30
