"""Choices for the drop-downs, and suggestions of mappings."""
