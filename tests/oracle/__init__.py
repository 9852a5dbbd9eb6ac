"""The oracle: a plain model of what quota-stream must do (design, section 2).  It defines the truth for the core."""
