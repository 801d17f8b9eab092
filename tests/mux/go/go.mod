module pipeops.io/tunnel/tests/mux

go 1.24

require github.com/hashicorp/yamux v0.1.2
