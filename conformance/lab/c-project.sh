# Writes a C project of 40 files into the current folder: sources that include a generated header, a library, a program.
set -e
calls=
for i in $(seq 40); do
  {
    echo '#include <stdio.h>'
    echo '#include <string.h>'
    echo '#include "numbers.h"'
    echo "int part_$i(void) { char text[64]; snprintf(text, sizeof text, \"%d\", $i); return (int)strlen(text) + NUMBER; }"
  } >"part_$i.c"
  echo "int part_$i(void);" >>parts.h
  calls="$calls + part_$i()"
done
{
  echo '#include "parts.h"'
  echo "int main(void) { return (0 $calls) == 40 * NUMBER + 71 ? 0 : 1; }"
} >main.c
sed -i '1i #include "numbers.h"' main.c
cat >Makefile <<'MAKE'
parts := $(patsubst %.c,%.o,$(sort $(wildcard part_*.c)))
program: main.o libparts.a
	$(CC) -o $@ main.o libparts.a
libparts.a: $(parts)
	$(AR) rcs $@ $(parts)
numbers.h:
	echo '#define NUMBER 7' >$@
$(parts) main.o: numbers.h
MAKE
