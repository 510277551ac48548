"""Real input for a first look at Rigbeat: a virtual set-top box and scripts that test it."""
