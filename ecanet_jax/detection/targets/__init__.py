"""What a detector learns: which anchors and RoIs are positive, what they should say."""
