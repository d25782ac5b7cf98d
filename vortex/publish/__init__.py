"""The publishing loop: plans, deduplication, objects, hours, clean-up."""
