"""Experiments: what each notebook computes and draws, one module per notebook."""
