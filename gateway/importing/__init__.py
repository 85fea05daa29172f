"""Archives in: files of any of three formats, their lines, and what they came to."""
