"""Long work as jobs: a description in, a folder of results out, with or without an engine around it.

Nothing is imported here; take names from the modules: `spec` and `kinds` describe jobs without torch, `runner.run_job` runs one.
"""
