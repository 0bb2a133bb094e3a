Prints its input backwards

>,[>,]                      each character in a cell of its own until a zero
<[.<]                       and back to the empty first cell
