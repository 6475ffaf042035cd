# Device kernels: each src/kernels/cuda/*.cu becomes a fatbin that src/kernels/cuda/image.c includes. No
# CUDA library is linked: the driver is loaded at run time (src/base/cuda), so `icd` starts without one.
find_program(ICD_NVCC nvcc HINTS /usr/local/cuda/bin)
# Sanitizers see nothing of device code, so that their builds go without it unless asked.
set(icd_cuda_default OFF)
if(ICD_NVCC AND NOT ICD_SANITIZE AND NOT ICD_FUZZER)
    set(icd_cuda_default ON)
endif()
option(ICD_CUDA "Compile the device kernels (needs nvcc)" ${icd_cuda_default})
set(ICD_CUDA_ARCH -gencode=arch=compute_80,code=[sm_80,compute_80]
    -gencode=arch=compute_90a,code=sm_90a
    CACHE STRING "Device architectures, as nvcc's -gencode options")

# icd_cuda_images(target): compiles the kernels and tells `target` where they are.
function(icd_cuda_images target)
    if(NOT ICD_CUDA)
        return()
    endif()
    if(NOT ICD_NVCC)
        message(FATAL_ERROR "ICD_CUDA is ON, but no nvcc was found: set ICD_NVCC, or ICD_CUDA=OFF")
    endif()
    set(folder ${CMAKE_BINARY_DIR}/fatbin)
    file(MAKE_DIRECTORY ${folder})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kernels/cuda/*.cu)
    file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kernels/cuda/*.h)
    set(images)
    foreach(source IN LISTS sources)
        get_filename_component(stem ${source} NAME_WE)
        add_custom_command(OUTPUT ${folder}/${stem}.fatbin
            COMMAND ${ICD_NVCC} -std=c++17 -O3 -lineinfo -Werror all-warnings ${ICD_CUDA_ARCH}
                    -I${CMAKE_SOURCE_DIR}/src -I${CMAKE_SOURCE_DIR}/include
                    -fatbin ${source} -o ${folder}/${stem}.fatbin
            DEPENDS ${source} ${headers}
            COMMENT "nvcc ${stem}.cu" VERBATIM)
        list(APPEND images ${folder}/${stem}.fatbin)
    endforeach()
    set_source_files_properties(${CMAKE_SOURCE_DIR}/src/kernels/cuda/image.c
        TARGET_DIRECTORY ${target} PROPERTIES OBJECT_DEPENDS "${images}"
        COMPILE_DEFINITIONS "ICD_CUDA=1;ICD_FATBINS=\"${folder}\"")
endfunction()

# The dense baseline is loaded at run time; where its header is, what we know of it is compared at build time.
function(icd_cuda_baseline target)
    find_path(ICD_CUBLASLT_INCLUDE cublasLt.h HINTS /usr/local/cuda/include)
    if(NOT ICD_CUDA OR NOT ICD_CUBLASLT_INCLUDE)
        return()
    endif()
    set_source_files_properties(${CMAKE_SOURCE_DIR}/src/runner/cuda/lt_check.c
        TARGET_DIRECTORY ${target} PROPERTIES
        COMPILE_OPTIONS "-isystem;${ICD_CUBLASLT_INCLUDE}"
        COMPILE_DEFINITIONS "ICD_HAVE_CUBLASLT=1")
endfunction()
