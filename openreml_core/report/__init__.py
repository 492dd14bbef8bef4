"""A fit in text: the summary, sentences, and the script that repeats it."""
