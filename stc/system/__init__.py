"""What stc needs of the machine and of its processes, and files and text for a terminal: no models, no stages."""
