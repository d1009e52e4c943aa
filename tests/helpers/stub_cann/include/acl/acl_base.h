// A stub: see acl.h.
#include "acl/acl.h"
