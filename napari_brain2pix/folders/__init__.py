"""What an opened folder holds: subject, maps, models, pictures. No Qt, no napari."""
