"""Photographs, videos and pictures of any size as files, read and written in rows. No torch."""
