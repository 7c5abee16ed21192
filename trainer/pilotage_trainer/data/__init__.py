"""Pairs of views of one place: from synthetic worlds and from real orthophotos."""
