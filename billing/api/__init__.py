"""The integrators' door: DRF views, one file per resource."""
