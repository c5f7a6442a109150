"""Choices that the command line names before it loads anything."""

DEMO_METHOD = "retino"  # which system the demo trains unless asked for another
