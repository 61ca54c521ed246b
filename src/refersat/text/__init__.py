"""Phrases: the tokenizer of the models and the generator of referring expressions."""
