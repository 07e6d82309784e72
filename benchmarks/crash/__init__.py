"""The parts of the crash test: where a worker dies, how it is started, what is looked at afterwards."""
