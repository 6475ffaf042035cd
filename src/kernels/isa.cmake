# Flags of the instruction-set levels; everything else is compiled for the baseline CPU. -O3 and no
# trapping or errno semantics let the element loops vectorise; neither changes a rounding.
set(icd_kernel_options -O3 -fno-trapping-math -fno-math-errno)
set(icd_isa_ref)
set(icd_isa_avx2)
set(icd_isa_avx512)
set(icd_isa_amx)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
    set(icd_isa_avx2 -mavx2 -mfma)
    set(icd_isa_avx512 ${icd_isa_avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni)
    set(icd_isa_amx ${icd_isa_avx512} -mamx-tile -mamx-int8)
endif()
foreach(level ref avx2 avx512 amx)
    file(GLOB icd_level_sources ${CMAKE_SOURCE_DIR}/src/kernels/${level}/*.c)
    set_source_files_properties(${icd_level_sources} PROPERTIES
        COMPILE_OPTIONS "${icd_kernel_options};${icd_isa_${level}}")
endforeach()
