"What happens to the cells of the docs after nbdev's own processing: `doc_procs` in pyproject.toml"

def drop_execution(cell):
    "Remove the times of execution, for Quarto then leaves a function out of \"On this page\""
    cell.metadata.pop('execution', None)
