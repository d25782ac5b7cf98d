"""Decodes a page's bytes into events by column, and into rejections for everything else."""
