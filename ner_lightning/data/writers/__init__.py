"""Writers: annotated sentences as files of the formats that are read, and of annotation tools."""
