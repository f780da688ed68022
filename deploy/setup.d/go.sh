go_least=1.26
