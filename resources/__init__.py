"""Files that ship with the program: presets and the bundled backbone."""
