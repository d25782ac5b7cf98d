"""The composition root, and the process around it: settings to adapters, signals, health, workers."""
