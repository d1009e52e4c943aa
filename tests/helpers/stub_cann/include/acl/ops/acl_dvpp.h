// A stub: see ../acl.h.
#ifndef STUB_ACL_DVPP_H
#define STUB_ACL_DVPP_H
#include "acl/acl.h"
#ifdef __cplusplus
extern "C" {
#endif
aclError acldvppMalloc(void **memory, size_t size);
aclError acldvppFree(void *memory);
#ifdef __cplusplus
}
#endif
#endif
