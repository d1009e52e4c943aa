// A stub of CANN's acl/acl.h: the types and functions that aclruntime's sources use (Ascend/tools at
// 63a74de and 9d6da90, ais-bench_workload/tool, backend/), as they call them. ascendcl.c implements
// them on the processor.
#ifndef STUB_ACL_H
#define STUB_ACL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int aclError;
#define ACL_SUCCESS 0
#define ACL_DYNAMIC_TENSOR_NAME "ascend_mbatch_shape_data"
#define ACL_MAX_DIM_CNT 128
#define ACL_MAX_TENSOR_NAME_LEN 128
#define ACL_MAX_BATCH_NUM 128
#define ACL_MAX_HW_NUM 128
#define ACL_UNKNOWN_RANK 0xFFFFFFFFFFFFFFFEul

typedef enum { ACL_FLOAT = 0, ACL_FLOAT16 = 1, ACL_INT32 = 3, ACL_UINT8 = 4, ACL_INT64 = 9 } aclDataType;
typedef enum { ACL_FORMAT_NCHW = 0, ACL_FORMAT_NHWC = 1, ACL_FORMAT_ND = 2 } aclFormat;
typedef enum {
    ACL_MEMCPY_HOST_TO_HOST,
    ACL_MEMCPY_HOST_TO_DEVICE,
    ACL_MEMCPY_DEVICE_TO_HOST,
    ACL_MEMCPY_DEVICE_TO_DEVICE
} aclrtMemcpyKind;
typedef enum { ACL_MEM_MALLOC_HUGE_FIRST } aclrtMemMallocPolicy;

typedef struct { char name[ACL_MAX_TENSOR_NAME_LEN]; size_t dimCount; int64_t dims[ACL_MAX_DIM_CNT]; } aclmdlIODims;
typedef struct { size_t batchCount; uint64_t batch[ACL_MAX_BATCH_NUM]; } aclmdlBatch;
typedef struct { size_t hwCount; uint64_t hw[ACL_MAX_HW_NUM][2]; } aclmdlHW;
typedef struct aclmdlDesc aclmdlDesc;
typedef struct aclmdlDataset aclmdlDataset;
typedef struct aclDataBuffer aclDataBuffer;
typedef struct aclTensorDesc aclTensorDesc;
typedef struct aclrtExceptionInfo aclrtExceptionInfo;
typedef void *aclrtContext;
typedef uint16_t aclFloat16;
typedef void (*aclrtExceptionInfoCallback)(aclrtExceptionInfo *);

aclError aclInit(const char *configPath);
aclError aclFinalize(void);
const char *aclrtGetSocName(void);
const char *aclGetRecentErrMsg(void);
float aclFloat16ToFloat(aclFloat16 value);
size_t aclDataTypeSize(aclDataType dataType);

aclError aclrtGetDeviceCount(uint32_t *count);
aclError aclrtSetDevice(int32_t device);
aclError aclrtResetDevice(int32_t device);
aclError aclrtCreateContext(aclrtContext *context, int32_t device);
aclError aclrtDestroyContext(aclrtContext context);
aclError aclrtGetCurrentContext(aclrtContext *context);
aclError aclrtSetCurrentContext(aclrtContext context);
aclError aclrtMalloc(void **memory, size_t size, aclrtMemMallocPolicy policy);
aclError aclrtMallocHost(void **memory, size_t size);
aclError aclrtFree(void *memory);
aclError aclrtFreeHost(void *memory);
aclError aclrtMemset(void *memory, size_t max, int32_t value, size_t count);
aclError aclrtMemcpy(void *to, size_t max, const void *from, size_t count, aclrtMemcpyKind kind);
aclError aclrtSetExceptionInfoCallback(aclrtExceptionInfoCallback callback);
uint32_t aclrtGetTaskIdFromExceptionInfo(const aclrtExceptionInfo *info);
uint32_t aclrtGetStreamIdFromExceptionInfo(const aclrtExceptionInfo *info);
uint32_t aclrtGetDeviceIdFromExceptionInfo(const aclrtExceptionInfo *info);

aclDataBuffer *aclCreateDataBuffer(void *data, size_t size);
aclError aclDestroyDataBuffer(const aclDataBuffer *buffer);
void *aclGetDataBufferAddr(const aclDataBuffer *buffer);
size_t aclGetDataBufferSizeV2(const aclDataBuffer *buffer);

aclTensorDesc *aclCreateTensorDesc(aclDataType type, int count, const int64_t *dims, aclFormat format);
void aclDestroyTensorDesc(const aclTensorDesc *desc);
size_t aclGetTensorDescSize(const aclTensorDesc *desc);
size_t aclGetTensorDescNumDims(const aclTensorDesc *desc);
aclError aclGetTensorDescDimV2(const aclTensorDesc *desc, size_t index, int64_t *size);
aclDataType aclGetTensorDescType(const aclTensorDesc *desc);
aclFormat aclGetTensorDescFormat(const aclTensorDesc *desc);
void *aclGetTensorDescAddress(const aclTensorDesc *desc);
aclTensorDesc *aclGetTensorDescByIndex(aclTensorDesc *desc, size_t index);

aclError aclmdlLoadFromFile(const char *path, uint32_t *model);
aclError aclmdlUnload(uint32_t model);
aclmdlDesc *aclmdlCreateDesc(void);
aclError aclmdlDestroyDesc(aclmdlDesc *desc);
aclError aclmdlGetDesc(aclmdlDesc *desc, uint32_t model);
size_t aclmdlGetNumInputs(aclmdlDesc *desc);
size_t aclmdlGetNumOutputs(aclmdlDesc *desc);
const char *aclmdlGetInputNameByIndex(const aclmdlDesc *desc, size_t index);
const char *aclmdlGetOutputNameByIndex(const aclmdlDesc *desc, size_t index);
size_t aclmdlGetInputSizeByIndex(aclmdlDesc *desc, size_t index);
size_t aclmdlGetOutputSizeByIndex(aclmdlDesc *desc, size_t index);
aclDataType aclmdlGetInputDataType(const aclmdlDesc *desc, size_t index);
aclDataType aclmdlGetOutputDataType(const aclmdlDesc *desc, size_t index);
aclFormat aclmdlGetInputFormat(const aclmdlDesc *desc, size_t index);
aclFormat aclmdlGetOutputFormat(const aclmdlDesc *desc, size_t index);
aclError aclmdlGetInputDims(const aclmdlDesc *desc, size_t index, aclmdlIODims *dims);
aclError aclmdlGetOutputDims(const aclmdlDesc *desc, size_t index, aclmdlIODims *dims);
aclError aclmdlGetCurOutputDims(const aclmdlDesc *desc, size_t index, aclmdlIODims *dims);
aclError aclmdlGetInputIndexByName(const aclmdlDesc *desc, const char *name, size_t *index);
aclError aclmdlGetInputDynamicGearCount(const aclmdlDesc *desc, size_t index, size_t *count);
aclError aclmdlGetInputDynamicDims(const aclmdlDesc *desc, size_t index, aclmdlIODims *dims, size_t count);
aclError aclmdlGetDynamicBatch(const aclmdlDesc *desc, aclmdlBatch *batch);
aclError aclmdlGetDynamicHW(const aclmdlDesc *desc, size_t index, aclmdlHW *hw);
aclError aclmdlSetDynamicBatchSize(uint32_t model, aclmdlDataset *data, size_t index, uint64_t size);
aclError aclmdlSetDynamicHWSize(uint32_t model, aclmdlDataset *data, size_t index, uint64_t height, uint64_t width);
aclError aclmdlSetInputDynamicDims(uint32_t model, aclmdlDataset *data, size_t index, const aclmdlIODims *dims);
aclmdlDataset *aclmdlCreateDataset(void);
aclError aclmdlDestroyDataset(const aclmdlDataset *data);
aclError aclmdlAddDatasetBuffer(aclmdlDataset *data, aclDataBuffer *buffer);
size_t aclmdlGetDatasetNumBuffers(const aclmdlDataset *data);
aclDataBuffer *aclmdlGetDatasetBuffer(const aclmdlDataset *data, size_t index);
aclError aclmdlSetDatasetTensorDesc(aclmdlDataset *data, aclTensorDesc *desc, size_t index);
aclTensorDesc *aclmdlGetDatasetTensorDesc(const aclmdlDataset *data, size_t index);
aclError aclmdlCreateAndGetOpDesc(uint32_t device, uint32_t stream, uint32_t task, char *name, size_t length, aclTensorDesc **inputs, size_t *inputCount, aclTensorDesc **outputs, size_t *outputCount);
aclError aclmdlExecute(uint32_t model, const aclmdlDataset *input, aclmdlDataset *output);

#ifdef __cplusplus
}
#endif
#endif
