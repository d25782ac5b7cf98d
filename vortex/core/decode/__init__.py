"""From a page's bytes to events by column, and rejections for what is no event."""
