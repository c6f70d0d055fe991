"""What the Snakefile and the scripts need: configuration, instances, code versions, jobs.

The library `hrsa` never imports this package; of its modules only `snakefile` knows Snakemake.
"""
