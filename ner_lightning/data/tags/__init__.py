"""Tags as files write them, and the names of types: how both are read, renamed and checked."""
