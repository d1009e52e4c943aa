// A stub of libascendcl.so: what acl/acl.h beside it declares, on the processor.
//
// A model is a text file `HEIGHT WIDTH`: one float32 input (1,3,HEIGHT,WIDTH); boxes float32 (100,5),
// whose first row is HEIGHT, WIDTH, the input's sum, its first value and 0.5, and labels int64 (100).
// Whatever aclruntime asks for beyond that fails, as a static model does.
#include "acl/acl.h"
#include "acl/ops/acl_dvpp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct aclDataBuffer { void *data; size_t size; };
struct aclmdlDataset { size_t count; aclDataBuffer *buffers[8]; aclTensorDesc *descs[8]; };
struct aclmdlDesc { uint32_t model; };
struct aclTensorDesc { size_t size; };
static struct { int64_t height, width; } models[64];
static uint32_t loaded;
static aclrtContext current;
enum { ROWS = 100, FAILED = 100000, NO_SUCH = 500001 };

aclError aclInit(const char *path) { (void)path; return ACL_SUCCESS; }
// Who takes this library for a chip's is told otherwise.
const char *aclrtGetSocName(void) { return "a stub of libascendcl"; }
aclError aclFinalize(void) { return ACL_SUCCESS; }
const char *aclGetRecentErrMsg(void) { return "EE9999: a stub's message"; }
float aclFloat16ToFloat(aclFloat16 value) { return (float)value; }
size_t aclDataTypeSize(aclDataType type)
{
    return type == ACL_INT64 ? 8 : type == ACL_FLOAT16 ? 2 : type == ACL_UINT8 ? 1 : 4;
}

aclError aclrtGetDeviceCount(uint32_t *count) { *count = 1; return ACL_SUCCESS; }
aclError aclrtSetDevice(int32_t device) { return device == 0 ? ACL_SUCCESS : 107001; }
aclError aclrtResetDevice(int32_t device) { (void)device; return ACL_SUCCESS; }
aclError aclrtCreateContext(aclrtContext *context, int32_t device)
{
    if (device != 0) return 107001;
    current = *context = malloc(1);
    return ACL_SUCCESS;
}
aclError aclrtDestroyContext(aclrtContext context) { free(context); return ACL_SUCCESS; }
aclError aclrtGetCurrentContext(aclrtContext *context) { *context = current; return current ? ACL_SUCCESS : 107002; }
aclError aclrtSetCurrentContext(aclrtContext context) { current = context; return ACL_SUCCESS; }
aclError aclrtMallocHost(void **memory, size_t size) { *memory = malloc(size ? size : 1); return ACL_SUCCESS; }
aclError aclrtMalloc(void **memory, size_t size, aclrtMemMallocPolicy policy) { (void)policy; return aclrtMallocHost(memory, size); }
aclError aclrtFree(void *memory) { free(memory); return ACL_SUCCESS; }
aclError aclrtFreeHost(void *memory) { free(memory); return ACL_SUCCESS; }
aclError acldvppMalloc(void **memory, size_t size) { return aclrtMallocHost(memory, size); }
aclError acldvppFree(void *memory) { return aclrtFree(memory); }
aclError aclrtMemset(void *memory, size_t max, int32_t value, size_t count)
{
    (void)max;
    memset(memory, value, count);
    return ACL_SUCCESS;
}
aclError aclrtMemcpy(void *to, size_t max, const void *from, size_t count, aclrtMemcpyKind kind)
{
    (void)kind;
    if (count > max) return FAILED;
    memcpy(to, from, count);
    return ACL_SUCCESS;
}
aclError aclrtSetExceptionInfoCallback(aclrtExceptionInfoCallback callback) { (void)callback; return ACL_SUCCESS; }
uint32_t aclrtGetTaskIdFromExceptionInfo(const aclrtExceptionInfo *info) { (void)info; return 0; }
uint32_t aclrtGetStreamIdFromExceptionInfo(const aclrtExceptionInfo *info) { (void)info; return 0; }
uint32_t aclrtGetDeviceIdFromExceptionInfo(const aclrtExceptionInfo *info) { (void)info; return 0; }

aclDataBuffer *aclCreateDataBuffer(void *data, size_t size)
{
    aclDataBuffer *made = malloc(sizeof *made);
    made->data = data;
    made->size = size;
    return made;
}
aclError aclDestroyDataBuffer(const aclDataBuffer *buffer) { free((void *)buffer); return ACL_SUCCESS; }
void *aclGetDataBufferAddr(const aclDataBuffer *buffer) { return buffer->data; }
size_t aclGetDataBufferSizeV2(const aclDataBuffer *buffer) { return buffer->size; }

aclTensorDesc *aclCreateTensorDesc(aclDataType type, int count, const int64_t *dims, aclFormat format)
{
    (void)type, (void)count, (void)dims, (void)format;
    return calloc(1, sizeof(aclTensorDesc));
}
void aclDestroyTensorDesc(const aclTensorDesc *desc) { free((void *)desc); }
size_t aclGetTensorDescSize(const aclTensorDesc *desc) { return desc->size; }
size_t aclGetTensorDescNumDims(const aclTensorDesc *desc) { (void)desc; return 0; }
aclError aclGetTensorDescDimV2(const aclTensorDesc *desc, size_t index, int64_t *size) { (void)desc, (void)index, (void)size; return FAILED; }
aclDataType aclGetTensorDescType(const aclTensorDesc *desc) { (void)desc; return ACL_FLOAT; }
aclFormat aclGetTensorDescFormat(const aclTensorDesc *desc) { (void)desc; return ACL_FORMAT_ND; }
void *aclGetTensorDescAddress(const aclTensorDesc *desc) { (void)desc; return NULL; }
aclTensorDesc *aclGetTensorDescByIndex(aclTensorDesc *desc, size_t index) { (void)index; return desc; }

aclError aclmdlLoadFromFile(const char *path, uint32_t *model)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) return NO_SUCH;
    long height = 0, width = 0;
    int found = fscanf(file, "%ld %ld", &height, &width);
    fclose(file);
    if (found != 2 || loaded == 64) return FAILED;
    models[loaded].height = height;
    models[loaded].width = width;
    *model = loaded++;
    return ACL_SUCCESS;
}
aclError aclmdlUnload(uint32_t model) { (void)model; return ACL_SUCCESS; }
aclmdlDesc *aclmdlCreateDesc(void) { return calloc(1, sizeof(aclmdlDesc)); }
aclError aclmdlDestroyDesc(aclmdlDesc *desc) { free(desc); return ACL_SUCCESS; }
aclError aclmdlGetDesc(aclmdlDesc *desc, uint32_t model) { desc->model = model; return ACL_SUCCESS; }
size_t aclmdlGetNumInputs(aclmdlDesc *desc) { (void)desc; return 1; }
size_t aclmdlGetNumOutputs(aclmdlDesc *desc) { (void)desc; return 2; }
const char *aclmdlGetInputNameByIndex(const aclmdlDesc *desc, size_t index) { (void)desc, (void)index; return "input"; }
const char *aclmdlGetOutputNameByIndex(const aclmdlDesc *desc, size_t index)
{
    (void)desc;
    return index ? "Reshape_1429:0:labels" : "Concat_1427:0:boxes";
}
aclError aclmdlGetInputDims(const aclmdlDesc *desc, size_t index, aclmdlIODims *dims)
{
    (void)index;
    memset(dims, 0, sizeof *dims);
    dims->dimCount = 4;
    dims->dims[0] = 1;
    dims->dims[1] = 3;
    dims->dims[2] = models[desc->model].height;
    dims->dims[3] = models[desc->model].width;
    return ACL_SUCCESS;
}
aclError aclmdlGetOutputDims(const aclmdlDesc *desc, size_t index, aclmdlIODims *dims)
{
    (void)desc;
    memset(dims, 0, sizeof *dims);
    dims->dimCount = index ? 1 : 2;
    dims->dims[0] = ROWS;
    dims->dims[1] = 5;
    return ACL_SUCCESS;
}
aclError aclmdlGetCurOutputDims(const aclmdlDesc *desc, size_t index, aclmdlIODims *dims) { return aclmdlGetOutputDims(desc, index, dims); }
size_t aclmdlGetInputSizeByIndex(aclmdlDesc *desc, size_t index)
{
    (void)index;
    return (size_t)(4 * 3 * models[desc->model].height * models[desc->model].width);
}
size_t aclmdlGetOutputSizeByIndex(aclmdlDesc *desc, size_t index) { (void)desc; return index ? 8 * ROWS : 4 * 5 * ROWS; }
aclDataType aclmdlGetInputDataType(const aclmdlDesc *desc, size_t index) { (void)desc, (void)index; return ACL_FLOAT; }
aclDataType aclmdlGetOutputDataType(const aclmdlDesc *desc, size_t index) { (void)desc; return index ? ACL_INT64 : ACL_FLOAT; }
aclFormat aclmdlGetInputFormat(const aclmdlDesc *desc, size_t index) { (void)desc, (void)index; return ACL_FORMAT_NCHW; }
aclFormat aclmdlGetOutputFormat(const aclmdlDesc *desc, size_t index) { (void)desc, (void)index; return ACL_FORMAT_ND; }
aclError aclmdlGetInputIndexByName(const aclmdlDesc *desc, const char *name, size_t *index) { (void)desc, (void)name, (void)index; return FAILED; }
aclError aclmdlGetInputDynamicGearCount(const aclmdlDesc *desc, size_t index, size_t *count) { (void)desc, (void)index; *count = 0; return ACL_SUCCESS; }
aclError aclmdlGetInputDynamicDims(const aclmdlDesc *desc, size_t index, aclmdlIODims *dims, size_t count) { (void)desc, (void)index, (void)dims, (void)count; return FAILED; }
aclError aclmdlGetDynamicBatch(const aclmdlDesc *desc, aclmdlBatch *batch) { (void)desc; batch->batchCount = 0; return ACL_SUCCESS; }
aclError aclmdlGetDynamicHW(const aclmdlDesc *desc, size_t index, aclmdlHW *hw) { (void)desc, (void)index; hw->hwCount = 0; return ACL_SUCCESS; }
aclError aclmdlSetDynamicBatchSize(uint32_t model, aclmdlDataset *data, size_t index, uint64_t size) { (void)model, (void)data, (void)index, (void)size; return FAILED; }
aclError aclmdlSetDynamicHWSize(uint32_t model, aclmdlDataset *data, size_t index, uint64_t height, uint64_t width) { (void)model, (void)data, (void)index, (void)height, (void)width; return FAILED; }
aclError aclmdlSetInputDynamicDims(uint32_t model, aclmdlDataset *data, size_t index, const aclmdlIODims *dims) { (void)model, (void)data, (void)index, (void)dims; return FAILED; }
aclmdlDataset *aclmdlCreateDataset(void) { return calloc(1, sizeof(aclmdlDataset)); }
aclError aclmdlDestroyDataset(const aclmdlDataset *data) { free((void *)data); return ACL_SUCCESS; }
aclError aclmdlAddDatasetBuffer(aclmdlDataset *data, aclDataBuffer *buffer)
{
    if (data->count == 8) return FAILED;
    data->buffers[data->count++] = buffer;
    return ACL_SUCCESS;
}
size_t aclmdlGetDatasetNumBuffers(const aclmdlDataset *data) { return data->count; }
aclDataBuffer *aclmdlGetDatasetBuffer(const aclmdlDataset *data, size_t index) { return data->buffers[index]; }
aclError aclmdlSetDatasetTensorDesc(aclmdlDataset *data, aclTensorDesc *desc, size_t index) { data->descs[index] = desc; return ACL_SUCCESS; }
aclTensorDesc *aclmdlGetDatasetTensorDesc(const aclmdlDataset *data, size_t index) { return data->descs[index]; }
aclError aclmdlCreateAndGetOpDesc(uint32_t device, uint32_t stream, uint32_t task, char *name, size_t length, aclTensorDesc **inputs, size_t *inputCount, aclTensorDesc **outputs, size_t *outputCount)
{
    (void)device, (void)stream, (void)task, (void)name, (void)length, (void)inputs, (void)inputCount, (void)outputs, (void)outputCount;
    return FAILED;
}
aclError aclmdlExecute(uint32_t model, const aclmdlDataset *input, aclmdlDataset *output)
{
    const float *values = input->buffers[0]->data;
    size_t count = input->buffers[0]->size / sizeof *values;
    float *boxes = output->buffers[0]->data;
    int64_t *labels = output->buffers[1]->data;
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += values[i];
    memset(boxes, 0, 4 * 5 * ROWS);
    memset(labels, 0, 8 * ROWS);
    boxes[0] = (float)models[model].height;
    boxes[1] = (float)models[model].width;
    boxes[2] = (float)sum;
    boxes[3] = values[0];
    boxes[4] = 0.5f;
    labels[0] = 1;
    return ACL_SUCCESS;
}
