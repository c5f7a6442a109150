"""The evaluation of a published paper as one resumable sweep, and one report beside the published numbers."""
