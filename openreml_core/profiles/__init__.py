"""Profile likelihood: the model fitted again with one quantity held, over and over."""

from __future__ import annotations

from openreml_core.profiles.profile import Curve, Profile, Profiler, bound_of, profile_of

__all__ = ["Curve", "Profile", "Profiler", "bound_of", "profile_of"]
