"""The settings: a TOML file and the environment, checked."""
