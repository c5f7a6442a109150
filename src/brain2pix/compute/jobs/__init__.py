"""One module for each kind of job: check the inputs, then call the packages that do the work. Imported on use by name."""
