// The part of LiteRT's C API (libLiteRt 2.3, Apache-2.0) that is used here; its packages ship no headers.
#pragma once
#include <cstddef>
#include <cstdint>

extern "C" {
using LiteRtStatus = int;  // 0 is success
using LiteRtEnvironment = struct LiteRtEnvironmentT*;
using LiteRtModel = struct LiteRtModelT*;
using LiteRtSignature = struct LiteRtSignatureT*;
using LiteRtTensor = struct LiteRtTensorT*;
using LiteRtOptions = struct LiteRtOptionsT*;
using LiteRtOpaqueOptions = struct LiteRtOpaqueOptionsT*;
using LiteRtCompiledModel = struct LiteRtCompiledModelT*;
using LiteRtTensorBuffer = struct LiteRtTensorBufferT*;

constexpr int kLiteRtAccelerateByCpu = 1, kLiteRtAnyInt = 2, kLiteRtHostMemory = 1, kLiteRtPerTensor = 1;
constexpr int kLiteRtReads = 0, kLiteRtWrites = 1, kLiteRtFloat32 = 1, kLiteRtUInt8 = 3;
constexpr int kLiteRtAutoRegisterAccelerators = 24, kLiteRtMinLoggerSeverity = 25;
struct LiteRtAny { int type; int64_t int_value; };
struct LiteRtEnvOption { int tag; LiteRtAny value; };
struct LiteRtLayout { uint32_t rank : 7, has_strides : 1; int32_t dimensions[8]; uint32_t strides[8]; };
struct LiteRtRankedTensorType { int element_type; LiteRtLayout layout; };
struct LiteRtQuantizationPerTensor { float scale; int64_t zero_point; };
static_assert(sizeof(LiteRtEnvOption) == 24 && sizeof(LiteRtRankedTensorType) == 72);

LiteRtStatus LiteRtCreateEnvironment(int, const LiteRtEnvOption*, LiteRtEnvironment*);
LiteRtStatus LiteRtCreateModelFromBuffer(LiteRtEnvironment, const void*, size_t, LiteRtModel*);
LiteRtStatus LiteRtGetModelSignature(LiteRtModel, size_t, LiteRtSignature*);
LiteRtStatus LiteRtGetSignatureInputTensorByIndex(LiteRtSignature, size_t, LiteRtTensor*);
LiteRtStatus LiteRtGetSignatureOutputTensorByIndex(LiteRtSignature, size_t, LiteRtTensor*);
LiteRtStatus LiteRtGetRankedTensorType(LiteRtTensor, LiteRtRankedTensorType*);
LiteRtStatus LiteRtGetQuantizationTypeId(LiteRtTensor, int*);
LiteRtStatus LiteRtGetPerTensorQuantization(LiteRtTensor, LiteRtQuantizationPerTensor*);
LiteRtStatus LiteRtCreateOptions(LiteRtOptions*);
LiteRtStatus LiteRtSetOptionsHardwareAccelerators(LiteRtOptions, int);
LiteRtStatus LiteRtCreateOpaqueOptions(const char*, void*, void (*)(void*), LiteRtOpaqueOptions*);
LiteRtStatus LiteRtAddOpaqueOptions(LiteRtOptions, LiteRtOpaqueOptions);
LiteRtStatus LiteRtCreateCompiledModel(LiteRtEnvironment, LiteRtModel, LiteRtOptions, LiteRtCompiledModel*);
LiteRtStatus LiteRtCreateManagedTensorBuffer(LiteRtEnvironment, int, const LiteRtRankedTensorType*, size_t,
                                             LiteRtTensorBuffer*);
LiteRtStatus LiteRtLockTensorBuffer(LiteRtTensorBuffer, void**, int);
LiteRtStatus LiteRtUnlockTensorBuffer(LiteRtTensorBuffer);
LiteRtStatus LiteRtRunCompiledModel(LiteRtCompiledModel, size_t, size_t, LiteRtTensorBuffer*, size_t,
                                    LiteRtTensorBuffer*);
void LiteRtDestroyEnvironment(LiteRtEnvironment);
void LiteRtDestroyModel(LiteRtModel);
void LiteRtDestroyOptions(LiteRtOptions);
void LiteRtDestroyCompiledModel(LiteRtCompiledModel);
void LiteRtDestroyTensorBuffer(LiteRtTensorBuffer);
}
