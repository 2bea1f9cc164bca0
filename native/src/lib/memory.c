/* Memory of this process that nothing in it uses any more. */
#include <errno.h>
#include <limits.h>
#include <malloc.h>

#include "lib_error.h"

int skep_release_freed(struct skep_error *err)
{
  (void)err;
  malloc_trim(0);
  return 0;
}

int skep_limit_freed(uint32_t bytes, struct skep_error *err)
{
  /* Each of the two also ends that the library adapts both to the largest block that was freed. The first may fail. */
  if (bytes > INT_MAX || !mallopt(M_MMAP_THRESHOLD, (int)bytes))
    return lib_fail(err, EINVAL, "mallopt", "M_MMAP_THRESHOLD");
  mallopt(M_TRIM_THRESHOLD, (int)bytes);
  return 0;
}
