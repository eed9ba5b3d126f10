"""Machine code: what Numba compiles. Arrays in, arrays out; nothing here draws or checks.

`deep_nb.engines.compiled` calls the kernels of `phases` and `epochs`, `deep_nb.dynamics` those of
`products`.
"""
