// A module with the interface of aclruntime of 2022-09, as far as the bundle uses it, over the same
// functions of CANN: for tests of the recipe that compiles the vendor's.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "acl/acl.h"
#include "acl/acl_base.h"
#include "acl/ops/acl_dvpp.h"

namespace py = pybind11;

static void check(aclError code, const char *what)
{
    if (code != ACL_SUCCESS) {
        printf("[ERROR] %s failed: %s\n", what, aclGetRecentErrMsg());
        throw std::runtime_error("[" + std::to_string(code) + "][" + what + "] ");
    }
}

struct Options { int loop = 1; int log_level = 2; std::string acl_json_path; };
struct Desc { std::string name; int datatype; int format; std::vector<int64_t> shape; size_t size, realsize; };
struct Sumary { std::vector<float> exec_time_list; };

struct Tensor {
    std::vector<char> host;
    std::vector<py::ssize_t> shape;
    std::string format;
    py::ssize_t item = 1;
    int device = -1;
    explicit Tensor(py::buffer buffer)
    {
        py::buffer_info info = buffer.request();
        host.assign(static_cast<char *>(info.ptr), static_cast<char *>(info.ptr) + info.size * info.itemsize);
        shape = info.shape;
        format = info.format;
        item = info.itemsize;
    }
    Tensor(size_t size, const Desc &desc)
        : host(size), shape(desc.shape.begin(), desc.shape.end()), format(desc.datatype == ACL_INT64 ? "l" : "f"),
          item(aclDataTypeSize(static_cast<aclDataType>(desc.datatype))), device(0) {}
    py::buffer_info info()
    {
        if (device >= 0) throw std::runtime_error("tensor is in npu. can't convert to numpy array");
        std::vector<py::ssize_t> strides(shape.size(), item);
        for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
        return py::buffer_info(host.data(), item, format, shape.size(), shape, strides);
    }
};

struct Session {
    uint32_t model = 0;
    aclmdlDesc *desc = nullptr;
    aclrtContext context = nullptr;
    Options options;
    Sumary summary;
    Session(const std::string &path, int device, const Options &given) : options(given)
    {
        check(aclInit(nullptr), "aclInit");
        check(aclrtCreateContext(&context, device), "aclrtCreateContext");
        check(aclmdlLoadFromFile(path.c_str(), &model), "aclmdlLoadFromFile");
        desc = aclmdlCreateDesc();
        check(aclmdlGetDesc(desc, model), "aclmdlGetDesc");
    }
    ~Session()
    {
        aclmdlUnload(model);
        aclmdlDestroyDesc(desc);
        aclrtDestroyContext(context);
        aclFinalize();
    }
    Desc describe(size_t i, bool input)
    {
        aclmdlIODims dims;
        check(input ? aclmdlGetInputDims(desc, i, &dims) : aclmdlGetOutputDims(desc, i, &dims), "dims");
        size_t size = input ? aclmdlGetInputSizeByIndex(desc, i) : aclmdlGetOutputSizeByIndex(desc, i);
        return {input ? aclmdlGetInputNameByIndex(desc, i) : aclmdlGetOutputNameByIndex(desc, i),
                input ? aclmdlGetInputDataType(desc, i) : aclmdlGetOutputDataType(desc, i),
                input ? aclmdlGetInputFormat(desc, i) : aclmdlGetOutputFormat(desc, i),
                std::vector<int64_t>(dims.dims, dims.dims + dims.dimCount), size, size};
    }
    std::vector<Desc> all(bool input)
    {
        std::vector<Desc> found;
        size_t count = input ? aclmdlGetNumInputs(desc) : aclmdlGetNumOutputs(desc);
        for (size_t i = 0; i < count; ++i) found.push_back(describe(i, input));
        return found;
    }
    std::vector<Tensor> run(const std::vector<std::string> &, std::vector<Tensor> &feeds)
    {
        aclmdlDataset *in = aclmdlCreateDataset(), *out = aclmdlCreateDataset();
        for (Tensor &one : feeds) check(aclmdlAddDatasetBuffer(in, aclCreateDataBuffer(one.host.data(), one.host.size())), "input");
        std::vector<Tensor> results;
        for (const Desc &one : all(false)) results.emplace_back(one.size, one);
        for (Tensor &one : results) check(aclmdlAddDatasetBuffer(out, aclCreateDataBuffer(one.host.data(), one.host.size())), "output");
        auto began = std::chrono::steady_clock::now();
        check(aclmdlExecute(model, in, out), "aclmdlExecute");
        std::chrono::duration<float, std::milli> took = std::chrono::steady_clock::now() - began;
        summary.exec_time_list.push_back(took.count());
        for (aclmdlDataset *set : {in, out}) {
            for (size_t i = 0; i < aclmdlGetDatasetNumBuffers(set); ++i) aclDestroyDataBuffer(aclmdlGetDatasetBuffer(set, i));
            aclmdlDestroyDataset(set);
        }
        return results;
    }
};

PYBIND11_MODULE(aclruntime, m)
{
    py::class_<Options>(m, "session_options").def(py::init<>()).def_readwrite("loop", &Options::loop)
        .def_readwrite("log_level", &Options::log_level).def_readwrite("acl_json_path", &Options::acl_json_path);
    py::class_<Desc>(m, "tensor_desc").def_readonly("name", &Desc::name).def_readonly("datatype", &Desc::datatype)
        .def_readonly("format", &Desc::format).def_readonly("shape", &Desc::shape)
        .def_readonly("size", &Desc::size).def_readonly("realsize", &Desc::realsize);
    py::class_<Sumary>(m, "sumary").def_readonly("exec_time_list", &Sumary::exec_time_list);
    py::class_<Tensor>(m, "Tensor", py::buffer_protocol()).def(py::init<py::buffer>()).def_buffer(&Tensor::info)
        .def("to_device", [](Tensor &t, int device) { t.device = device; }).def("to_host", [](Tensor &t) { t.device = -1; });
    py::class_<Session>(m, "InferenceSession").def(py::init<const std::string &, int, const Options &>())
        .def("run", &Session::run, py::call_guard<py::gil_scoped_release>())
        .def("get_inputs", [](Session &s) { return s.all(true); }).def("get_outputs", [](Session &s) { return s.all(false); })
        .def("sumary", [](Session &s) { return s.summary; }).def("set_staticbatch", [](Session &) { return 0; })
        .def("reset_sumaryinfo", [](Session &s) { s.summary.exec_time_list.clear(); return 0; });
}
