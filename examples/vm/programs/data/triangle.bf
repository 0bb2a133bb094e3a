Prints a triangle of stars

Cells: rows to go; length of the row; two copies of it; a star; a line break

>>>>>++++++[<+++++++>-]     the star is six times seven
++++++++++                  the line break is ten
<<<<<++++++++               eight rows
[
  >+                        each row is longer by one
  [>+>+<<-]>>[<<+>>-]       copy the length; it takes two copies to keep one
  <[>>.<<-]                 a star for each
  >>>.                      the line break
  <<<<<-
]
