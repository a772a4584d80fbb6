"""All documents of a bill run in one zip file, made by a job and the same every time."""
